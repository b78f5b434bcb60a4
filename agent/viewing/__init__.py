"""Footage for viewing: byte ranges of one file to the hub, by grant. A process of its own; off unless configured.

`decision` says whether, `footage` reads, `server` answers, `offer` tells the hub where; `process` runs it beside the
agent. See ``custody/spec/viewing.md``.
"""
