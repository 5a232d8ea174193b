"""`entrepot up`: every program of one installation, supervised in one terminal."""
