"""What is true: the fold, the tables it fills, and the ways to read them."""
