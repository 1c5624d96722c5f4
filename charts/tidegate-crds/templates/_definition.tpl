{{/* The same file in the charts tidegate and tidegate-crds: a definition as a release installs it. It is kept when the release
     goes, since all objects of the kind would go with it, in every namespace. A lower schema than the cluster's is refused.
     Takes a dict: content (text that stays text, since a parser would make floats of large integers), labels,
     annotations, and advice for a lower schema. */}}
{{- define "tidegate.definition" -}}
{{- $name := regexFind "(?m)^  name: .+$" .content | trimPrefix "  name: " }}
{{- $schema := regexFind "(?m)^    tidegate.dev/schema: .+$" .content | trimPrefix "    tidegate.dev/schema: " | trimAll "\"" | int }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- $there := get (.metadata.annotations | default dict) "tidegate.dev/schema" | int }}
{{- if gt $there $schema }}
{{- fail (printf "CustomResourceDefinition %s has schema %d in this cluster and schema %d in this chart. Stored objects would lose the fields that only schema %d has. %s" $name $there $schema $there $.advice) }}
{{- end }}
{{- end }}
{{- $head := printf "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n    tidegate.dev/schema: %q" (toString $schema) }}
{{- with .annotations }}{{ $head = printf "%s%s" $head (toYaml . | nindent 4) }}{{ end }}
{{- $head = printf "%s\n  labels:%s" $head (.labels | nindent 4) }}
{{- regexReplaceAllLiteral "(?m)^metadata:\n  annotations:\n    tidegate.dev/schema: .+\n  labels:\n    app.kubernetes.io/part-of: tidegate$" .content $head }}
{{- end }}
