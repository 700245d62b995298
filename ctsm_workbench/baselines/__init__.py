"""The compared systems of Table 1, and TF-IDF, on one backbone. Each module is one system."""
