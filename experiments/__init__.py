"""The paper's three findings, tried at a small scale: `python -m experiments NAME -o OUT`."""
