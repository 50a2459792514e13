"""The service: exported models behind HTTP, and a page to try them in a browser, on Ray Serve.

``api`` is the HTTP side and knows nothing of Ray; ``replica`` runs a model; ``service`` puts both on Ray Serve.
"""
