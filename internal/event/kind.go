package event

// kind is the tag of a body in the journal. Numbers are for ever.
type kind uint8

const (
	kindRunStarted         kind = 1
	kindTaskCompleted      kind = 2
	kindTaskFailed         kind = 3
	kindTaskCancelled      kind = 4
	kindAttemptStarted     kind = 5
	kindTimerFired         kind = 6
	kindCloudEventReceived kind = 7
	kindChildEnded         kind = 8
	kindSecretsResolved    kind = 9
	kindCancelRequested    kind = 10
	kindSuspendRequested   kind = 11
	kindResumeRequested    kind = 12
	kindEvaluationStopped  kind = 13
	kindSliced             kind = 14
	kindRunEnded           kind = 15
	kindRunReopened        kind = 16
	kindRunForked          kind = 17
)

func (*RunStarted) kind() kind         { return kindRunStarted }
func (*TaskCompleted) kind() kind      { return kindTaskCompleted }
func (*TaskFailed) kind() kind         { return kindTaskFailed }
func (*TaskCancelled) kind() kind      { return kindTaskCancelled }
func (*AttemptStarted) kind() kind     { return kindAttemptStarted }
func (*TimerFired) kind() kind         { return kindTimerFired }
func (*CloudEventReceived) kind() kind { return kindCloudEventReceived }
func (*ChildEnded) kind() kind         { return kindChildEnded }
func (*SecretsResolved) kind() kind    { return kindSecretsResolved }
func (*CancelRequested) kind() kind    { return kindCancelRequested }
func (*SuspendRequested) kind() kind   { return kindSuspendRequested }
func (*ResumeRequested) kind() kind    { return kindResumeRequested }
func (*EvaluationStopped) kind() kind  { return kindEvaluationStopped }
func (*Sliced) kind() kind             { return kindSliced }
func (*RunEnded) kind() kind           { return kindRunEnded }
func (*RunReopened) kind() kind        { return kindRunReopened }
func (*RunForked) kind() kind          { return kindRunForked }

var statusNames = [...]string{"", "pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed"}

// String is the DSL's name of the phase.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// Ended reports that nothing more happens to a run or task in this phase.
func (s Status) Ended() bool { return s == Cancelled || s == Faulted || s == Completed }

// ParseStatus reads what String writes; ok is false for an unknown name.
func ParseStatus(name string) (s Status, ok bool) {
	for i, n := range statusNames {
		if i > 0 && n == name {
			return Status(i), true
		}
	}
	return 0, false
}
