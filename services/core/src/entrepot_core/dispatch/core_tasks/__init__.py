"""What core does itself, one file for each; `dispatch/executors.py` lists them."""
