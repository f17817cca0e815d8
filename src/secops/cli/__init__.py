"""The command line: one module a command, which parses, confirms, calls and renders."""
