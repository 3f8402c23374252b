"""The session: its record, its states, its ledger and its quality. Pure; nothing here does I/O."""
