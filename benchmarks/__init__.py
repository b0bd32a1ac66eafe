"""Speed as ratios: this project and a peer, interleaved in one run."""
