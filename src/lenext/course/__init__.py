"""The course: lessons on the claims of the documents, and the documents' own results, trained again."""
