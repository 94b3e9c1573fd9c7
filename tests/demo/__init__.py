"""The whole way, once: from an empty machine to two living environments, a year of usage and the papers."""
