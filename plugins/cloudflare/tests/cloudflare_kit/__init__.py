"""What these tests share: the recordings, and a stand-in that plays them."""
