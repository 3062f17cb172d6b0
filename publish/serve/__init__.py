"""Pictures over HTTP, for a chatbot or a site."""
