// Renders a Helm chart with Helm's own packages, and decodes each object strictly into the types of the Kubernetes API: what no type has,
// and what occurs twice, is an error.
//
//	helm lint CHART [VALUES…]
//	helm render CHART [VALUES…]    prints {"objects":[…],"notes":"…"}
//
// The whole program `helm` would take three times as long to compile, for commands that need a cluster.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: helm lint|render CHART [VALUES…]"))
	}
	values, err := read(os.Args[3:])
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "lint":
		err = check(os.Args[2], values)
	case "render":
		err = render(os.Args[2], values)
	default:
		err = fmt.Errorf("%s: no such command", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Reads files of values; later ones win.
func read(paths []string) (map[string]any, error) {
	all := map[string]any{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		values := map[string]any{}
		if err := yaml.UnmarshalStrict(text, &values); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = util.CoalesceTables(values, all)
	}
	return all, nil
}

func check(chart string, values map[string]any) error {
	result := lint.RunAll(chart, values, "web")
	for _, message := range result.Messages {
		if message.Severity >= support.WarningSev {
			return fmt.Errorf("%s", message.Error())
		}
	}
	return nil
}

func render(path string, values map[string]any) error {
	chart, err := loader.LoadDir(path)
	if err != nil {
		return err
	}
	release := common.ReleaseOptions{Name: "tailrace", Namespace: "web", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return err
	}
	objects, notes, err := decode(files)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"objects": objects, "notes": notes})
}

var separator = regexp.MustCompile(`(?m)^---$`)

func decode(files map[string]string) ([]any, string, error) {
	decoder, err := strict()
	if err != nil {
		return nil, "", err
	}
	objects, notes := []any{}, ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = files[name]
			continue
		}
		for _, document := range separator.Split(files[name], -1) {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
				return nil, "", fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			if object == nil {
				continue
			}
			if _, _, err := decoder.Decode([]byte(document), nil, nil); err != nil {
				return nil, "", fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			objects = append(objects, object)
		}
	}
	return objects, notes, nil
}

// Knows Kubernetes itself, the Prometheus operator, and the Gateway API.
func strict() (runtime.Decoder, error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoring.AddToScheme, gateway.Install} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	return serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer(), nil
}
