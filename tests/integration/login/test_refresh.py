"""Refresh tokens: one use each, whoever asks and however many at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secops.accounts.login import tokens
from secops.accounts.login.rules import Previous, Scope
from secops.accounts.login.sessions import Sessions, Verdict
from support.logins import AWAY, HOME, Backend, at_once


def refreshed(backend: Backend, token: str, service: Sessions | None = None) -> tuple[Verdict, str]:
    with backend.pool.connection() as conn:
        found = (service or backend.sessions).refresh(conn, token, HOME)
    return found.verdict, found.grant.token if found.grant else ""


def test_a_refresh_uses_the_token_up_and_gives_the_next_one(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    verdict, second = refreshed(backend, first.token)
    assert verdict is Verdict.ROTATED
    assert second not in {"", first.token}
    assert backend.live(alice) == 1
    assert refreshed(backend, second)[0] is Verdict.ROTATED


def test_a_session_never_outlives_its_own_end_however_often_it_is_refreshed(
    backend: Backend,
) -> None:
    alice = backend.person()
    token = backend.begin(alice).token
    backend.database.execute(
        "UPDATE refresh_tokens SET family_expires_at = now() + interval '1 hour'"
    )
    for _ in range(3):
        with backend.pool.connection() as conn:
            found = backend.sessions.refresh(conn, token, HOME)
        assert found.grant is not None
        assert found.grant.expires_in <= timedelta(hours=1)
        token = found.grant.token
    backend.database.execute("UPDATE refresh_tokens SET family_expires_at = now()")
    assert refreshed(backend, token) == (Verdict.EXPIRED, "")


def test_two_hundred_at_once_get_one_successor_and_no_error(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    found = at_once(200, lambda _: refreshed(backend, first.token))
    verdicts = [verdict for verdict, _ in found]
    assert verdicts.count(Verdict.ROTATED) == 1
    assert verdicts.count(Verdict.REPLAYED) == 199
    assert len({token for _, token in found}) == 1
    assert backend.live(alice) == 1
    assert refreshed(backend, found[0][1])[0] is Verdict.ROTATED


def test_a_client_that_never_got_the_answer_may_ask_again(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    _, lost = refreshed(backend, first.token)
    assert refreshed(backend, first.token) == (Verdict.REPLAYED, lost)


def test_after_the_grace_it_is_theft_and_every_session_of_the_user_ends(backend: Backend) -> None:
    alice, bob = backend.person(), backend.person("bob")
    stolen, other, bobs = backend.begin(alice), backend.begin(alice), backend.begin(bob)
    _, second = refreshed(backend, stolen.token)
    backend.database.execute("UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'")
    with backend.pool.connection() as conn:
        found = backend.sessions.refresh(conn, stolen.token, AWAY)
    assert (found.verdict, found.grant) == (Verdict.REUSED, None)
    # What was revoked is committed although the request is refused.
    assert refreshed(backend, second) == (Verdict.REVOKED, "")
    assert refreshed(backend, other.token) == (Verdict.REVOKED, "")
    assert refreshed(backend, bobs.token)[0] is Verdict.ROTATED
    [(_, user, email, facts)] = backend.events("refresh_token_theft_detected")
    assert (user, email) == (alice, "alice@example.com")
    assert isinstance(facts, dict)
    assert (facts["sessions_ended"], facts["generations"], facts["token_epoch"]) == (2, 1, 1)
    assert facts["owasp"] == "authn_token_reuse"
    assert facts["issued_to"]["ip"] == HOME.ip


def test_in_the_familys_scope_the_users_other_sessions_live_on(backend: Backend) -> None:
    alice = backend.person()
    service = backend.sessions_with(scope=Scope.FAMILY, previous=Previous.NEVER)
    stolen, other = backend.begin(alice), backend.begin(alice)
    _, second = refreshed(backend, stolen.token, service)
    assert refreshed(backend, stolen.token, service)[0] is Verdict.REUSED
    assert refreshed(backend, second, service)[0] is Verdict.REVOKED
    assert refreshed(backend, other.token, service)[0] is Verdict.ROTATED


def test_the_grandparent_is_theft_even_within_the_grace(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    _, second = refreshed(backend, first.token)
    _, third = refreshed(backend, second)
    assert refreshed(backend, first.token)[0] is Verdict.REUSED
    assert refreshed(backend, third)[0] is Verdict.REVOKED
    assert backend.live(alice) == 0


def test_without_grace_the_second_use_is_theft_as_the_plan_has_it(backend: Backend) -> None:
    alice = backend.person()
    service = backend.sessions_with(previous=Previous.NEVER)
    first = backend.begin(alice)
    found = at_once(20, lambda _: refreshed(backend, first.token, service)[0])
    assert found.count(Verdict.ROTATED) == 1
    assert backend.live(alice) == 0


def test_an_unused_successor_is_handed_out_again_for_as_long_as_it_takes(backend: Backend) -> None:
    alice = backend.person()
    service = backend.sessions_with(previous=Previous.UNUSED)
    first = backend.begin(alice)
    _, second = refreshed(backend, first.token, service)
    backend.database.execute("UPDATE refresh_tokens SET used_at = used_at - interval '1 day'")
    assert refreshed(backend, first.token, service) == (Verdict.REPLAYED, second)
    assert refreshed(backend, second, service)[0] is Verdict.ROTATED
    assert refreshed(backend, first.token, service)[0] is Verdict.REUSED


def test_a_token_of_a_session_that_was_logged_out_is_no_theft(backend: Backend) -> None:
    alice = backend.person()
    first, other = backend.begin(alice), backend.begin(alice)
    _, second = refreshed(backend, first.token)
    with backend.pool.connection() as conn:
        assert backend.sessions.logout(conn, second, HOME) == first.session
        assert backend.sessions.logout(conn, second, HOME) is None
    assert refreshed(backend, second)[0] is Verdict.REVOKED
    assert refreshed(backend, first.token)[0] is Verdict.ENDED
    assert refreshed(backend, other.token)[0] is Verdict.ROTATED
    assert backend.events("refresh_token_theft_detected") == []


def test_a_used_token_serves_to_log_out(backend: Backend) -> None:
    """A tab that is one behind ends the session it belongs to."""
    alice = backend.person()
    first = backend.begin(alice)
    refreshed(backend, first.token)
    with backend.pool.connection() as conn:
        assert backend.sessions.logout(conn, first.token, HOME) == first.session
    assert backend.live(alice) == 0


@pytest.mark.parametrize(
    "presented", ["", "x", "srt_" + "A" * 43, "x" * 513, "x\x00y", "\ud800", "' OR 1=1 --"]
)
def test_what_is_no_token_gets_nothing_and_harms_nobody(backend: Backend, presented: str) -> None:
    alice = backend.person()
    backend.begin(alice)
    assert refreshed(backend, presented) == (Verdict.UNKNOWN, "")
    assert backend.live(alice) == 1
    [(_, user, _, facts)] = backend.events("token_refresh_failed")
    assert user is None
    assert isinstance(facts, dict)
    assert facts["digest"] == tokens.digest(presented)[:8]


def test_an_account_that_may_not_log_in_may_not_stay_either(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    backend.database.execute("UPDATE users SET is_active = false WHERE id = %s", (alice,))
    assert refreshed(backend, first.token)[0] is Verdict.DISABLED
    assert backend.live(alice) == 0


def test_five_wrong_passwords_of_a_stranger_end_nobodys_session(backend: Backend) -> None:
    """The plan's middleware would: anybody could lock anybody out of a session that works."""
    alice = backend.person()
    first = backend.begin(alice)
    backend.database.execute("UPDATE users SET locked_until = now() + interval '30 min'")
    _, second = refreshed(backend, first.token)
    assert second
    service = backend.sessions_with(locked_too=True)
    with backend.pool.connection() as conn:
        found = service.refresh(conn, second, HOME)
    assert found.verdict is Verdict.LOCKED
    assert found.retry_after is not None
    assert timedelta(minutes=29) < found.retry_after <= timedelta(minutes=30)
    assert backend.live(alice) == 1


def test_an_operators_lock_keeps_a_session_from_going_on(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    backend.database.execute(
        "INSERT INTO secops.accounts (user_id, locked_at, lock_expires_at) VALUES (%s, now(), NULL)",
        (alice,),
    )
    assert refreshed(backend, first.token)[0] is Verdict.LOCKED


def test_with_rotation_switched_off_the_token_goes_on_and_a_used_one_still_does_not(
    backend: Backend,
) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    _, second = refreshed(backend, first.token)
    still = backend.sessions_with(rotate=False, previous=Previous.NEVER)
    assert refreshed(backend, second, still) == (Verdict.KEPT, second)
    assert refreshed(backend, second, still) == (Verdict.KEPT, second)
    assert refreshed(backend, first.token, still)[0] is Verdict.REUSED


def test_another_device_is_refused_where_that_is_asked_for(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    service = backend.sessions_with(same_device=True, watch_addresses=True)
    with backend.pool.connection() as conn:
        assert service.refresh(conn, first.token, AWAY).verdict is Verdict.OTHER_DEVICE
    assert refreshed(backend, first.token, service)[0] is Verdict.ROTATED


def test_a_sixth_session_ends_the_oldest_where_five_are_the_most(backend: Backend) -> None:
    alice = backend.person()
    backend.sessions = backend.sessions_with(most=5)
    begun = [backend.begin(alice) for _ in range(6)]
    assert backend.live(alice) == 5
    assert refreshed(backend, begun[0].token)[0] is Verdict.REVOKED
    assert refreshed(backend, begun[5].token)[0] is Verdict.ROTATED


def test_the_table_holds_no_token_and_what_it_holds_opens_nothing(backend: Backend) -> None:
    alice = backend.person()
    first = backend.begin(alice)
    _, second = refreshed(backend, first.token)
    dump = str(backend.database.execute("SELECT refresh_tokens::text FROM refresh_tokens"))
    dump += str(backend.database.execute("SELECT security_events::text FROM security_events"))
    for token in (first.token, second):
        assert token not in dump
        assert token.removeprefix("srt_") not in dump


def test_a_row_that_an_older_app_wrote_is_a_session_of_its_own(backend: Backend) -> None:
    alice = backend.person()
    backend.database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at) VALUES (%s, %s, now() + interval '7 d')",
        (alice, tokens.digest("an older app's token")),
    )
    _, second = refreshed(backend, "an older app's token")
    assert second
    assert backend.database.value("SELECT count(DISTINCT family_id) FROM refresh_tokens") == 1
    assert backend.live(alice) == 1


def test_thefts_and_refreshes_of_the_same_user_at_once_never_deadlock_and_leave_nothing_alive(
    backend: Backend,
) -> None:
    """With the tokens' rows locked alone they deadlock, and tokens outlive the theft that ends them."""
    service = backend.sessions_with(previous=Previous.NEVER)
    for name in ("alice", "bob", "carol", "dave"):
        user = backend.person(name)
        families = []
        for _ in range(16):
            old = backend.begin(user)
            _, new = refreshed(backend, old.token, service)
            families.append((old.token, new))
        # The last families suffer a theft while the first are refreshed.
        found = at_once(
            16, lambda number, families=families: refreshed(  # type: ignore[misc]
                backend, families[number][0 if number >= 12 else 1], service
            )[0],
        )  # fmt: skip
        assert Verdict.REUSED in found
        assert backend.live(user) == 0, name
