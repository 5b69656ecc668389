"""Rain data: pairs on disk, samples with an exemplar, and what makes and stores them."""
