"""What several verbs share: options, tables, JSON, scoring, embedding."""
