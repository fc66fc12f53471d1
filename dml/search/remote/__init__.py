"""Stores elsewhere: PostgreSQL with pgvector, and Qdrant, reached by an address and searched as a file is."""
