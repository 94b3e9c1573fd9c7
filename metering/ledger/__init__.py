"""The control machine's side of metering: the ledger, how it grows, and what it says."""
