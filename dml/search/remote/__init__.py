"""Stores in databases: PostgreSQL with pgvector, and Qdrant, reached by an address and searched like a file."""
