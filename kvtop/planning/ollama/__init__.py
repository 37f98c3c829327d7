"""Ollama has no memory rules of its own: it starts a llama-server for each model, and this room says with which words.

Source of every rule here: ollama v0.33.0-rc2 (`llm/llama_server.go`, `llm/server.go`, `server/sched.go`,
`server/routes.go`, `envconfig/config.go`). Versions before 0.30 run models in a runner of their own.
"""
