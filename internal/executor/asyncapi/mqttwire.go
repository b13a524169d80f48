package asyncapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	five "github.com/eclipse/paho.golang/packets"
	three "github.com/eclipse/paho.mqtt.golang/packets"
)

// packet is what 3.1.1 and 5 of MQTT have in common.
type packet struct {
	kind    byte // as the libraries number them
	id      uint16
	qos     byte
	retain  bool
	code    byte   // from 128 on a refusal
	reason  string // of the code
	topic   string
	message message // of PUBLISH
	opening *opening
}

// opening is what CONNECT says.
type opening struct {
	client, user, password string
	clean                  bool
	keep                   uint16 // seconds
	expiry                 uint32 // of the session, seconds; version 5
	will                   *packet
}

// wire is how a version of MQTT is written.
type wire struct {
	write func(w io.Writer, p *packet) error
	read  func(r io.Reader) (*packet, error)
}

var (
	wireThree = wire{writeThree, readThree}
	wireFive  = wire{writeFive, readFive}
)

// receiveMaximum is how many messages may be without an acknowledgement.
const receiveMaximum = 256

func writeThree(w io.Writer, p *packet) error {
	c := three.NewControlPacket(p.kind)
	switch c := c.(type) {
	case *three.ConnectPacket:
		o := p.opening
		c.ProtocolName, c.ProtocolVersion, c.CleanSession, c.Keepalive, c.ClientIdentifier = "MQTT", 4, o.clean, o.keep, o.client
		c.UsernameFlag, c.Username, c.PasswordFlag, c.Password = o.user != "", o.user, o.password != "", []byte(o.password)
		if o.password != "" {
			c.UsernameFlag = true // 3.1.1 knows no password alone
		}
		if o.will != nil {
			c.WillFlag, c.WillQos, c.WillRetain, c.WillTopic, c.WillMessage = true, o.will.qos, o.will.retain, o.will.topic, o.will.message.body
		}
	case *three.PublishPacket:
		c.Qos, c.Retain, c.MessageID, c.TopicName, c.Payload = p.qos, p.retain, p.id, p.topic, p.message.body
	case *three.SubscribePacket:
		c.MessageID, c.Topics, c.Qoss = p.id, []string{p.topic}, []byte{p.qos}
	case *three.PubackPacket:
		c.MessageID = p.id
	case *three.PubrecPacket:
		c.MessageID = p.id
	case *three.PubrelPacket:
		c.MessageID = p.id
	case *three.PubcompPacket:
		c.MessageID = p.id
	case *three.PingreqPacket, *three.DisconnectPacket:
	default:
		return fmt.Errorf("no packet of the kind %d is sent", p.kind)
	}
	return c.Write(w)
}

func readThree(r io.Reader) (*packet, error) {
	c, err := three.ReadPacket(r)
	if err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case *three.ConnackPacket:
		p := &packet{kind: three.Connack, code: c.ReturnCode, reason: three.ConnackReturnCodes[c.ReturnCode]}
		switch c.ReturnCode {
		case 0:
		case three.ErrRefusedBadUsernameOrPassword, three.ErrRefusedNotAuthorised:
			p.code = five.ConnackNotAuthorized
		default:
			p.code = five.ConnackUnspecifiedError
		}
		return p, nil
	case *three.PublishPacket:
		return &packet{kind: three.Publish, id: c.MessageID, qos: c.Qos, retain: c.Retain, topic: c.TopicName, message: message{body: c.Payload}}, nil
	case *three.SubackPacket:
		p := &packet{kind: three.Suback, id: c.MessageID, reason: "the subscription is refused"}
		for _, code := range c.ReturnCodes {
			p.code = max(p.code, code)
		}
		return p, nil
	case *three.PubackPacket:
		return &packet{kind: three.Puback, id: c.MessageID}, nil
	case *three.PubrecPacket:
		return &packet{kind: three.Pubrec, id: c.MessageID}, nil
	case *three.PubrelPacket:
		return &packet{kind: three.Pubrel, id: c.MessageID}, nil
	case *three.PubcompPacket:
		return &packet{kind: three.Pubcomp, id: c.MessageID}, nil
	case *three.PingrespPacket:
		return &packet{kind: three.Pingresp}, nil
	}
	return nil, fmt.Errorf("the server sent a packet that it must not send: %T", c)
}

func writeFive(w io.Writer, p *packet) error {
	c := five.NewControlPacket(p.kind)
	if c == nil {
		return fmt.Errorf("no packet of the kind %d is sent", p.kind)
	}
	switch c := c.Content.(type) {
	case *five.Connect:
		o := p.opening
		most, large := uint16(receiveMaximum), uint32(maxPacket)
		c.Properties.ReceiveMaximum, c.Properties.MaximumPacketSize = &most, &large
		if !o.clean {
			c.Properties.SessionExpiryInterval = &o.expiry
		}
		c.CleanStart, c.KeepAlive, c.ClientID = o.clean, o.keep, o.client
		c.UsernameFlag, c.Username, c.PasswordFlag, c.Password = o.user != "", o.user, o.password != "", []byte(o.password)
		if o.will != nil {
			c.WillFlag, c.WillQOS, c.WillRetain, c.WillTopic, c.WillMessage = true, o.will.qos, o.will.retain, o.will.topic, o.will.message.body
			c.WillProperties = &five.Properties{}
		}
	case *five.Publish:
		c.QoS, c.Retain, c.PacketID, c.Topic, c.Payload = p.qos, p.retain, p.id, p.topic, p.message.body
		c.Properties.ContentType, c.Properties.CorrelationData = p.message.contentType, []byte(p.message.correlation)
		for name, v := range p.message.headers {
			c.Properties.User = append(c.Properties.User, five.User{Key: name, Value: v})
		}
	case *five.Subscribe:
		c.PacketID, c.Subscriptions = p.id, []five.SubOptions{{Topic: p.topic, QoS: p.qos}}
	case *five.Puback:
		c.PacketID = p.id
	case *five.Pubrec:
		c.PacketID = p.id
	case *five.Pubrel:
		c.PacketID = p.id
	case *five.Pubcomp:
		c.PacketID = p.id
	}
	_, err := c.WriteTo(w)
	return err
}

func readFive(r io.Reader) (*packet, error) {
	c, err := five.ReadPacket(r)
	if err != nil {
		return nil, err
	}
	p := &packet{kind: c.Type}
	switch c := c.Content.(type) {
	case *five.Connack:
		p.code, p.reason = c.ReasonCode, c.Reason()
		if c.ReasonCode == five.ConnackBadUsernameOrPassword {
			p.code = five.ConnackNotAuthorized
		}
	case *five.Publish:
		p.id, p.qos, p.retain, p.topic = c.PacketID, c.QoS, c.Retain, c.Topic
		p.message = message{body: c.Payload, contentType: c.Properties.ContentType, correlation: string(c.Properties.CorrelationData), headers: map[string]string{}}
		for _, u := range c.Properties.User {
			if was, ok := p.message.headers[u.Key]; ok {
				u.Value = was + ", " + u.Value
			}
			p.message.headers[u.Key] = u.Value
		}
	case *five.Suback:
		p.id, p.reason = c.PacketID, "the subscription is refused"
		for _, code := range c.Reasons {
			p.code = max(p.code, code)
		}
	case *five.Puback:
		p.id, p.code, p.reason = c.PacketID, c.ReasonCode, c.Reason()
	case *five.Pubrec:
		p.id, p.code, p.reason = c.PacketID, c.ReasonCode, c.Reason()
	case *five.Pubrel:
		p.id = c.PacketID
	case *five.Pubcomp:
		p.id, p.code = c.PacketID, c.ReasonCode
	case *five.Pingresp:
	case *five.Disconnect:
		p.code, p.reason = c.ReasonCode, c.Reason()
	default:
		return nil, fmt.Errorf("the server sent a packet that it must not send: %T", c)
	}
	return p, nil
}

// maxPacket bounds one packet, so that no message fills the memory.
const maxPacket = maxOutput + 64<<10

var errPacketTooLarge = errors.New("the server sent a message that is larger than the limit of 15 MiB")

// readPacket reads a packet whose length is within bounds.
func readPacket(r *bufio.Reader, read func(io.Reader) (*packet, error)) (*packet, error) {
	length, shift := 0, 0
	for i := 1; i <= 4; i++ {
		head, err := r.Peek(i + 1)
		if err != nil {
			return nil, err
		}
		length |= int(head[i]&0x7f) << shift
		if shift += 7; head[i] < 0x80 {
			break
		}
	}
	if length > maxPacket {
		return nil, errPacketTooLarge
	}
	return read(r)
}
