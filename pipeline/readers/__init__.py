"""Readers: from files to documents, one format a module."""
