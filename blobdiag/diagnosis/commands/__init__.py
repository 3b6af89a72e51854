"""What each command's report must show, and the answer to its question in a sentence."""
