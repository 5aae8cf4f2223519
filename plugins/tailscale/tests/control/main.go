// A tailnet on loopback for tests: coordination server, relay and STUN, all in memory.
//
//	control 127.0.0.1:31544
//
// The tests start it, and the real tailscaled, in a network namespace of their own. It takes orders
// on its standard input, one a line, and answers each with one line:
//
//	caps https,funnel        the capabilities of every node
//	expire true              have the keys of all nodes expire, or not
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

const funnelPorts = "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	all := capabilities("https,funnel," + funnelPorts)
	control := &testcontrol.Server{
		DERPMap:                 relay(),
		DNSConfig:               &tailcfg.DNSConfig{Proxied: true},
		MagicDNSDomain:          "tail1234.ts.net",
		DefaultNodeCapabilities: &all,
		ExplicitBaseURL:         "http://" + listener.Addr().String(),
		Logf:                    quiet,
	}
	go func() { log.Fatal(http.Serve(listener, control)) }()
	fmt.Println("ready")
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		order, value, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case "caps":
			for _, node := range control.AllNodes() {
				node.Capabilities = slices.Collect(maps.Keys(capabilities(value)))
				control.UpdateNode(node)
			}
		case "expire":
			control.SetExpireAllNodes(value == "true")
		}
		fmt.Println("done")
	}
}

// capabilities turns a list of names into what a node is sent. The name "funnel-ports" stands for
// the list that Funnel has today: it holds commas itself.
func capabilities(names string) tailcfg.NodeCapMap {
	caps := tailcfg.NodeCapMap{}
	names = strings.Replace(names, funnelPorts, "funnel-ports", 1)
	for _, name := range strings.Split(names, ",") {
		if name == "funnel-ports" {
			name = funnelPorts
		}
		caps[tailcfg.NodeCapability(name)] = nil
	}
	return caps
}

// relay starts a DERP and a STUN server; without a home relay a node never gets to Running.
func relay() *tailcfg.DERPMap {
	server := derpserver.New(key.NewNode(), quiet)
	web := httptest.NewUnstartedServer(derpserver.Handler(server))
	web.Config.ErrorLog = log.New(os.Stderr, "", 0)
	web.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	web.StartTLS()
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
		RegionID:   1,
		RegionCode: "test",
		RegionName: "Test",
		Nodes: []*tailcfg.DERPNode{{
			Name:             "t1",
			RegionID:         1,
			HostName:         "127.0.0.1",
			IPv4:             "127.0.0.1",
			IPv6:             "none",
			STUNPort:         answerSTUN(),
			DERPPort:         web.Listener.Addr().(*net.TCPAddr).Port,
			InsecureForTests: true,
			STUNTestIP:       "127.0.0.1",
		}},
	}}}
}

func answerSTUN() int {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for packet := make([]byte, 64<<10); ; {
			n, from, err := socket.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			if request, err := stun.ParseBindingRequest(packet[:n]); err == nil {
				socket.WriteToUDPAddrPort(stun.Response(request, from), from)
			}
		}
	}()
	return socket.LocalAddr().(*net.UDPAddr).Port
}

func quiet(string, ...any) {}
