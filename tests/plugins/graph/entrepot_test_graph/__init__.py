"""A plugin for tests: arbitrary graphs of units, and every way to break the contract."""
