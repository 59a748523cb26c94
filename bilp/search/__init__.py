"""The search that turns `search` into numbers: successive halving with cheap proxies, judged on training images that are held out."""
