"""What an attacker tries, and why it does not work."""
