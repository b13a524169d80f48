package asyncapi_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// DSL 73-77 over Kafka, by a broker in this process.
func TestKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.Ports(0), kfake.SeedTopics(1, "greetings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	document := write(t, "kafka", c.ListenAddrs()[0], "talk", "kafka: {topic: greetings, groupId: {type: string, enum: [workers]}}")
	behave(t, document, true, true)
}
