"""The paper's studies, a file each, and what several of them compute with."""
