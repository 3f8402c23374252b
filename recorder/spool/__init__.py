"""The spool: recordings on disk, durable by commit, readable after any power cut."""
