"""User agents in a few words: a person asks whether it was their phone, not for its build number."""

from __future__ import annotations

import re
from typing import Final

# In this order: most browsers claim to be their competitors as well.
_PROGRAMS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\bEdg(?:e|A|iOS)?/(\d+)", "Edge"),
        (r"\b(?:OPR|OPiOS)/(\d+)", "Opera"),
        (r"\bSamsungBrowser/(\d+)", "Samsung Internet"),
        (r"\bVivaldi/(\d+)", "Vivaldi"),
        (r"\bYaBrowser/(\d+)", "Yandex Browser"),
        (r"\b(?:Firefox|FxiOS)/(\d+)", "Firefox"),
        (r"\bHeadlessChrome/(\d+)", "headless Chrome"),
        (r"\bElectron/(\d+)", "a desktop app (Electron)"),
        (r"\b(?:Chrome|CriOS|Chromium)/(\d+)", "Chrome"),
        (r"\bVersion/(\d+)\S* (?:Mobile/\S+ )?Safari/", "Safari"),
        (r"^curl/(\d+)", "curl"),
        (r"^Wget/(\d+)", "Wget"),
        (r"^python-requests/(\d+)", "Python requests"),
        (r"^(?:python-httpx|httpx2?)/(\d+)", "Python httpx"),
        (r"^Python(?:-urllib)?/(\d+)", "Python"),
        (r"^axios/(\d+)", "axios"),
        (r"^node(?:-fetch)?(?:/(\d+))?", "Node.js"),
        (r"^okhttp/(\d+)", "an Android app (okhttp)"),
        (r"\bCFNetwork/(\d+)", "an Apple app (CFNetwork)"),
        (r"^Dart/(\d+)", "a Flutter app (Dart)"),
        (r"^Go-http-client/(\d+)", "Go"),
        (r"^PostmanRuntime/(\d+)", "Postman"),
    )
)
_SYSTEMS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\biPhone\b", "iPhone"),
        (r"\biPad\b", "iPad"),
        (r"\bAndroid\b", "Android"),
        (r"\bWindows\b", "Windows"),
        (r"\bCrOS\b", "ChromeOS"),
        (r"\bMac OS X\b|\bMacintosh\b", "macOS"),
        (r"\bLinux\b|\bX11\b", "Linux"),
    )
)
_READ: Final = 1_000
_SHOWN: Final = 40


def describe(agent: str | None) -> str:
    """Say in a few words what a user agent stands for.

    Args:
        agent: As the app stored it. Whoever logs in chose it, so it proves nothing.

    Returns:
        ``Firefox 128 on Windows``, ``curl 8``; the beginning of one that is not known; ``unknown
        device`` for none. Not inert yet.
    """
    # What is longer than any browser's is somebody's attempt at something.
    text = (agent or "").strip()[:_READ]
    if not text:
        return "unknown device"
    program = ""
    for pattern, name in _PROGRAMS:
        if match := pattern.search(text):
            # An app's library has a version, which says nothing about the app.
            version = "" if name.endswith(")") else match[1] or ""
            program = f"{name} {version}".strip()
            break
    system = next((name for pattern, name in _SYSTEMS if pattern.search(text)), "")
    if program and system:
        return f"{program} on {system}"
    return program or system or (text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
