"""What is predicted from what, where it is not the next token from all before it."""
