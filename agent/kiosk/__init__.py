"""The dock's own screen: a page on loopback for the person who stands before it."""
