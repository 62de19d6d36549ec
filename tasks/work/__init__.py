"""The work of finance on what reconciliation found: who has a break, what was decided, which period is closed."""
