package asyncapi

import (
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kerr"
)

// refused reports that a server does not take the credentials.
func refused(err error) bool {
	return anyOf(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, kerr.SaslAuthenticationFailed, amqp.ErrCredentials, amqp.ErrSASL) ||
		begins(err, "WRONGPASS", "NOAUTH", "ERR invalid password", "ERR AUTH")
}

// forbidden reports that the credentials are good, but not for this.
func forbidden(err error) bool {
	if e, ok := errors.AsType[*amqp.Error](err); ok && e.Code == amqp.AccessRefused {
		return true
	}
	return anyOf(err, nats.ErrPermissionViolation, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed) || begins(err, "NOPERM")
}

func anyOf(err error, which ...error) bool {
	return slices.ContainsFunc(which, func(one error) bool { return errors.Is(err, one) })
}

// begins reports that Redis answered with one of these words.
func begins(err error, words ...string) bool {
	e, ok := errors.AsType[redis.Error](err)
	return ok && slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(e.Error(), word) })
}
