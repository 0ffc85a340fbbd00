"""Everything compiled. Modules here import each other and nothing else of the package."""
