"""What the tests of the Cloudflare backend share: the recordings, and a stand-in that plays them."""
