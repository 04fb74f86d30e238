package otlp

// Limits that tests go by.
const (
	SpanQueue = spanQueue
	LogQueue  = logQueue
)
