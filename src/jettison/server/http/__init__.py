"""HTTP: connections and TLS, requests and answers, and what clients share."""
