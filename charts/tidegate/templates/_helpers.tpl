{{/*
Names are fixed, whatever the release is called: sidecars, certificates and rights know the operator by its name, and a
cluster has one Tidegate.
*/}}

{{/* Labels of an object. Takes a dict: root, name, and further labels if there are any. */}}
{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" .name }}
app.kubernetes.io/part-of: tidegate
{{- with trimPrefix "tidegate-" .name }}
{{- if ne . "tidegate" }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with merge (dict) (.labels | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What a Deployment selects its pods by: it can never be changed, so it is as little as possible. Takes the name. */}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ . }}
{{- end }}

{{/* Metadata of an object of our namespace. Takes a dict: root, name, and labels and annotations if there are any. */}}
{{- define "tidegate.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels: {{- include "tidegate.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of pods: nothing that changes with a version, or every upgrade would roll them.
     Takes a dict: root, name, values. */}}
{{- define "tidegate.podMetadata" -}}
labels:
  {{- include "tidegate.selector" .name | nindent 2 }}
  app.kubernetes.io/part-of: tidegate
  app.kubernetes.io/component: {{ trimPrefix "tidegate-" .name }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Takes a dict: root, image. */}}
{{- define "tidegate.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* Everything about a pod but what runs in it. Takes a dict: root, name, values. */}}
{{- define "tidegate.pod" -}}
serviceAccountName: {{ .name }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext: {{- mergeOverwrite (include "tidegate.podSecurity" . | fromYaml) .values.podSecurityContext | toYaml | nindent 2 }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
{{- toYaml .values.topologySpreadConstraints | nindent 0 }}
{{- else }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "tidegate.selector" .name | nindent 6 }}
  # Pods that a rollout is about to end do not count, or the new ones could come together on one node.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{- define "tidegate.podSecurity" -}}
runAsNonRoot: true
{{- if ne (toString .root.Values.user) "platform" }}
runAsUser: {{ int64 .root.Values.user }}
runAsGroup: {{ int64 .root.Values.user }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What PodSecurity's level `restricted` demands, and a file system that nobody writes to. */}}
{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end }}

{{/* Probes of the port that the operator and the injector have in common, with a workload's own fields over them. */}}
{{- define "tidegate.probes" -}}
{{- $probes := include "tidegate.defaultProbes" . | fromYaml }}
{{- range $name := list "readinessProbe" "livenessProbe" "startupProbe" }}
{{- with get $.values $name }}
{{- $_ := set $probes $name (mergeOverwrite (get $probes $name | default dict) .) }}
{{- end }}
{{- end }}
{{- toYaml $probes }}
{{- end }}

{{- define "tidegate.defaultProbes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /healthz, port: health}
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Where a server listens when the cluster's first family is not the one that programs assume. Takes a dict: root, port. */}}
{{- define "tidegate.listen" -}}
{{- if eq (first .root.Values.sidecar.ipFamilies) "IPv6" }}[::]:{{ .port }}{{ else }}0.0.0.0:{{ .port }}{{ end }}
{{- end }}

{{/* An object of a generated file, with our labels and annotations. Takes a dict: root, name (for the label), object. */}}
{{- define "tidegate.generated" -}}
{{- $metadata := .object.metadata }}
{{- $labels := include "tidegate.labels" . | fromYaml }}
{{- $_ := set $metadata "labels" (merge (dict) ($metadata.labels | default dict) $labels) }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
{{- $_ := set $metadata "annotations" . }}
{{- end }}
{{- toYaml .object }}
{{- end }}

{{/* The objects of a generated file, of which each is in our namespace where it is in one.
     Takes a dict: root, name, file, and annotations of the ServiceAccount. */}}
{{- define "tidegate.rights" -}}
{{- $arguments := . }}
{{- range splitList "\n---\n" (.root.Files.Get .file | replace "tidegate-system" .root.Release.Namespace) }}
{{- $object := fromYaml . }}
{{- $annotations := dict }}
{{- if eq $object.kind "ServiceAccount" }}
{{- $annotations = $arguments.annotations }}
{{- $_ := set $object "automountServiceAccountToken" false }}
{{- end }}
{{- if and $arguments.root.Values.certManager.enabled $object.rules }}
{{- $_ := set $object "rules" (include "tidegate.rulesWithCertManager" $object | fromYamlArray) }}
{{- end }}
{{- if $arguments.root.Values.rbac.install }}
---
{{ include "tidegate.generated" (dict "root" $arguments.root "name" $arguments.name "object" $object "annotations" $annotations) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Rules without those about certificates, which are cert-manager's then: of Secrets the keys of seals alone can be made, read
     and changed, and no webhook configuration. Takes a role. */}}
{{- define "tidegate.rulesWithCertManager" -}}
{{- $rules := list }}
{{- range .rules }}
{{- $resources := without (.resources | default list) "secrets" "mutatingwebhookconfigurations" "validatingwebhookconfigurations" }}
{{- if .nonResourceURLs }}
{{- $rules = append $rules . }}
{{- else if has "tidegate-seals" (.resourceNames | default list) }}
{{- $rules = append $rules (merge (dict "resourceNames" (list "tidegate-seals")) .) }}
{{- else if and (has "secrets" .resources) (eq (join "," .verbs) "create") }}
{{- $rules = append $rules . }}
{{- else if $resources }}
{{- $rules = append $rules (merge (dict "resources" $resources) .) }}
{{- end }}
{{- end }}
{{- toYaml $rules }}
{{- end }}

{{/* What an endpoint of a monitor may have beside its interval, within the braces of a mapping. Takes the values of the monitors. */}}
{{- define "tidegate.scraping" -}}
{{- with .scrapeTimeout }}, scrapeTimeout: {{ . }}{{ end }}
{{- with .relabelings }}, relabelings: {{ toJson . }}{{ end }}
{{- with .metricRelabelings }}, metricRelabelings: {{ toJson . }}{{ end }}
{{- end }}
