package workflow

import "time"

// DocumentSettings is metadata.downbeat of a document: when, where and how
// durably a workflow runs, never what it computes (D38).
type DocumentSettings struct {
	Pos         Pos
	Concurrency *Concurrency
	Priority    int // -10 to 10
	Locks       []Value
	Calendar    string
	Schedule    *ScheduleSettings
	Endpoint    *Value // shape checked by Decode
	Webhook     *Value // shape checked by Decode
	Manual      time.Duration
	Retention   *Retention
	Sensitive   []string // JSON pointers
	Shell       string   // on Windows: "cmd" or "powershell" (D28)
}

// Concurrency bounds how many runs are active at once, for each key.
type Concurrency struct {
	Pos   Pos
	Limit int
	Key   *Expr  // of the run's input; nil: one key for all
	On    string // "queue" (default), "reject", "replace"
}

// ScheduleSettings stands beside the DSL's schedule.
type ScheduleSettings struct {
	Pos      Pos
	Timezone string
	Jitter   time.Duration
	Missed   string // "skip", "latest" (default), "all"
	Paused   bool
}

// Retention says how long finished runs of the workflow are kept.
type Retention struct {
	Pos  Pos
	Keep int           // runs; 0: the default
	For  time.Duration // 0: the default
}

// TaskSettings is metadata.downbeat of a task.
type TaskSettings struct {
	Pos         Pos
	On          map[string]string // labels of the agents that may carry it out
	Resources   *Value
	Interrupted string // "repeat" (default) or "fault"
	Cache       *Value
	Workspace   string // "run", "task" or a name; "": a directory of the attempt
	Registry    string // the secret with the credentials of a container's registry
}
