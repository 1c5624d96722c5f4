"""What calls can be in the middle of when their application hangs up, and how to see that nothing is left of them."""
