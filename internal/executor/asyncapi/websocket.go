package asyncapi

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

func (l *link) socket(ctx context.Context) (*websocket.Conn, error) {
	h := l.header()
	c, response, err := websocket.Dial(ctx, l.url("ws", "wss").String(), &websocket.DialOptions{HTTPClient: &http.Client{Transport: l.client.HTTP()}, HTTPHeader: h})
	if response != nil && response.Body != nil && err != nil {
		_ = response.Body.Close() // the refusal has been read
	}
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(maxOutput)
	return c, nil
}

// publishSocket sends the message as text and closes the connection.
func publishSocket(ctx context.Context, l *link, m *message) error {
	c, err := l.socket(ctx)
	if err != nil {
		return err
	}
	if err := c.Write(ctx, websocket.MessageText, m.body); err != nil {
		_ = c.CloseNow() // it is broken already
		return err
	}
	return closed(c.Close(websocket.StatusNormalClosure, ""))
}

// closed takes the peer's way to say goodbye as good: it has got the message.
func closed(err error) error {
	if websocket.CloseStatus(err) != -1 {
		return nil
	}
	return err
}

type socket struct{ *websocket.Conn }

func subscribeSocket(ctx context.Context, l *link) (source, error) {
	c, err := l.socket(ctx)
	if err != nil {
		return nil, err
	}
	return socket{c}, nil
}

func (s socket) receive(ctx context.Context) (*message, error) {
	_, b, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	return &message{body: b}, nil
}

func (s socket) acknowledge(context.Context) error { return nil }

func (s socket) close() { _ = s.CloseNow() } // the server sees it by itself
