"""How an invented host is marked wherever it is shown or written."""

DEMO_MARK = "DEMO"
DEMO_SENTENCE = "DEMO: this host is invented; nothing in here was measured."
