"""Taking over an earlier, home-grown layer in place, while the app that made it goes on."""
