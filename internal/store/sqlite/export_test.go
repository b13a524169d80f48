package sqlite

// FaultAt makes the n-th statement of the writer fail, from now on, with what
// fail returns; the number of statements so far is returned by the function.
func (s *Store) FaultAt(n int, fail error) (count func() int) {
	s.write.Lock()
	defer s.write.Unlock()
	at := 0
	s.w.fault = func(string) error {
		if at++; at == n {
			return fail
		}
		return nil
	}
	return func() int { return at }
}

// Writer runs a statement on the writer's connection and returns its first number.
func (s *Store) Writer(query string) (int64, error) {
	s.write.Lock()
	defer s.write.Unlock()
	return s.w.number(query)
}

// Plan returns how a query would be carried out.
func (s *Store) Plan(query string) (plan string, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	err = s.w.query(func(st stmt) error { plan += st.ColumnText(3) + "\n"; return nil }, "explain query plan "+query)
	return plan, err
}

// The queries of Due.
const (
	SQLDueMine   = sqlDueMine
	SQLDueNobody = sqlDueNobody
)
