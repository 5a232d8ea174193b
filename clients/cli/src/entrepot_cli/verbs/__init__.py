"""What people type after `entrepot`: one module for each noun or daily verb."""
