{{/* Variables of the injector: every value below `sidecar`, by the names that its settings have. */}}
{{- define "tidegate.injectorEnv" -}}
{{- $sidecar := .Values.sidecar }}
- name: TIDEGATE_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: TIDEGATE_LISTEN, value: "{{ include "tidegate.listen" (dict "root" . "port" .Values.injector.ports.webhook) }}"}
- {name: TIDEGATE_HEALTH, value: "{{ include "tidegate.listen" (dict "root" . "port" .Values.injector.ports.health) }}"}
- {name: TIDEGATE_CERTIFICATES, value: /etc/tidegate/certificates}
{{- if .Values.injector.clientCA.configMap }}
- {name: TIDEGATE_CLIENT_CA, value: /etc/tidegate/client-ca/ca.crt}
{{- end }}
- {name: TIDEGATE_DRAIN_MS, value: "{{ mul 1000 .Values.injector.drainSeconds }}"}
- {name: TIDEGATE_GRACE_MS, value: "{{ mul 1000 .Values.injector.graceSeconds }}"}
- {name: TIDEGATE_LOG_LEVEL, value: {{ .Values.logLevel }}}
- {name: TIDEGATE_SIDECAR_IMAGE, value: "{{ include "tidegate.image" (dict "root" . "image" $sidecar.image) }}"}
- {name: TIDEGATE_SIDECAR_PULL_POLICY, value: {{ $sidecar.image.pullPolicy }}}
- {name: TIDEGATE_SIDECAR_USER, value: {{ ternary "platform" (int64 $sidecar.user | toString) (eq (toString $sidecar.user) "platform") | quote }}}
- {name: TIDEGATE_SIDECAR_STARTUP, value: {{ $sidecar.startup }}}
- {name: TIDEGATE_SIDECAR_KEYS_SECRET, value: {{ $sidecar.keysSecret | quote }}}
- {name: TIDEGATE_SIDECAR_IP_FAMILIES, value: {{ join "," $sidecar.ipFamilies | quote }}}
{{- range $what, $values := dict "REQUEST" ($sidecar.resources.requests | default dict) "LIMIT" ($sidecar.resources.limits | default dict) }}
- {name: TIDEGATE_SIDECAR_CPU_{{ $what }}, value: {{ $values.cpu | default "none" | toString | quote }}}
- {name: TIDEGATE_SIDECAR_MEMORY_{{ $what }}, value: {{ $values.memory | default "none" | toString | quote }}}
{{- end }}
{{- range $what, $values := dict "REQUEST" ($sidecar.resources.requests | default dict) "LIMIT" ($sidecar.resources.limits | default dict) }}
{{- with get $values "ephemeral-storage" }}
- {name: TIDEGATE_SIDECAR_EPHEMERAL_STORAGE_{{ $what }}, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with $sidecar.env }}
- {name: TIDEGATE_SIDECAR_ENV, value: {{ toJson . | quote }}}
{{- end }}
{{- with $sidecar.caBundle }}
{{- if or .configMap .secret }}
- {name: TIDEGATE_SIDECAR_CA, value: "{{ ternary "configMap" "secret" (ne .configMap "") }}/{{ .configMap | default .secret }}/{{ .key }}"}
{{- end }}
{{- end }}
{{- with $sidecar.egressProxy.url }}
- {name: TIDEGATE_SIDECAR_HTTPS_PROXY, value: {{ . | quote }}}
{{- end }}
{{- range $name, $words := dict "NO_PROXY" $sidecar.egressProxy.noProxy "IMAGES" $sidecar.images "PULL_SECRETS" $sidecar.pullSecrets "AUDIENCES" $sidecar.audiences "MESH_PROXIES" $sidecar.meshProxies }}
{{- if $words }}
- {name: TIDEGATE_SIDECAR_{{ $name }}, value: {{ join "," $words | quote }}}
{{- end }}
{{- end }}
{{- with .Values.injector.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
