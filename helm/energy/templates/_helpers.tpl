{{/* Names. Everything is called after the release, as in `energy`, `energy-operator`, `energy-cockroachdb`. */}}
{{- define "energy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that select pods: (list . "component"). They never change. */}}
{{- define "energy.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of objects: (list . "component" [more]). Not for pods: a new chart version alone must not restart them. What people add can't change the chart's own. */}}
{{- define "energy.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "energy.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "energy" -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $more := dict -}}
{{- if gt (len .) 2 }}{{ $more = index . 2 }}{{ end -}}
{{- merge $own $more $root.Values.labels | toYaml }}
{{- end }}

{{/* What Prometheus calls a component: (list . "app"|"cockroachdb"|"operator"). */}}
{{- define "energy.job" -}}
{{- $full := include "energy.fullname" (index . 0) -}}
{{- ternary $full (printf "%s-%s" $full (index . 1)) (eq (index . 1) "app") -}}
{{- end }}

{{/* An image reference: (list . .Values.app.image). */}}
{{- define "energy.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{/* What every pod has in common: Pod Security `restricted`, no service-account token, pull secrets. */}}
{{- define "energy.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "energy.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods may run: the four values that several components have. */}}
{{- define "energy.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Even shares per zone and per node: (list . "component" whenUnsatisfiable [extra label keys]). */}}
{{- define "energy.spread" -}}
topologySpreadConstraints:
{{- $args := . }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: {{ index $args 2 }}
  labelSelector:
    matchLabels: {{- include "energy.selector" $args | nindent 6 }}
  {{- with index $args 3 }}
  matchLabelKeys: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A service-account token for the one container that mounts it, instead of one for the whole pod. */}}
{{- define "energy.tokenVolume" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "energy.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* Object names that more than one template needs. */}}
{{- define "energy.cockroachdb" -}}{{ include "energy.fullname" . }}-cockroachdb{{- end }}
{{- define "energy.bootstrapSecret" -}}
{{- default (printf "%s-bootstrap" (include "energy.fullname" .)) .Values.auth.bootstrap.existingSecret -}}
{{- end }}

{{/* The Secret with one party's certificate: (list . "node"|"root"|"owner"|"app"). Its keys are ca.crt, tls.crt, tls.key. */}}
{{- define "energy.certificateSecret" -}}
{{- $root := index . 0 -}}{{- $party := index . 1 -}}
{{- $own := printf "%s-%s" (include "energy.cockroachdb" $root) $party -}}
{{- ternary (get $root.Values.cockroachdb.tls.existing $party) $own (eq $root.Values.cockroachdb.tls.source "existing") -}}
{{- end }}

{{/* How a container reaches the database: (list . "app"|"owner"). The owner may change the schema. */}}
{{- define "energy.databaseEnv" -}}
{{- $root := index . 0 -}}{{- $party := index . 1 -}}
{{- if $root.Values.cockroachdb.enabled -}}
{{- /* No password: the client certificate is the credential. */ -}}
- name: ENERGY_DATABASE_URL
  value: postgresql://{{ ternary "energy" "energy_owner" (eq $party "app") }}@{{ include "energy.cockroachdb" $root }}:26257/energy?sslmode=verify-full&sslrootcert=/etc/energy/database/ca.crt&sslcert=/etc/energy/database/tls.crt&sslkey=/etc/energy/database/tls.key
{{- else }}
{{- $external := $root.Values.database.external -}}
{{- $key := ternary $external.urlKey (default $external.urlKey $external.ownerUrlKey) (eq $party "app") -}}
- name: ENERGY_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $external.existingSecret }}, key: {{ $key }}}}
{{- if and $external.readUrlKey (eq $party "app") }}
- name: ENERGY_DATABASE_READ_URL
  valueFrom: {secretKeyRef: {name: {{ $external.existingSecret }}, key: {{ $external.readUrlKey }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "energy.databaseVolume" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.cockroachdb.enabled -}}
- name: database
  secret: {secretName: {{ include "energy.certificateSecret" . }}, defaultMode: 0440}
{{- else if $root.Values.database.external.caSecret -}}
- name: database
  secret: {secretName: {{ $root.Values.database.external.caSecret }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{- define "energy.databaseMount" -}}
{{- if or .Values.cockroachdb.enabled .Values.database.external.caSecret -}}
- {name: database, mountPath: /etc/energy/database, readOnly: true}
{{- end }}
{{- end }}

{{/* `app.settings` as ENERGY_* variables; whole numbers as such (Helm reads 1000000 as 1e+06). */}}
{{- define "energy.settingsEnv" -}}
{{- range $name, $value := .Values.app.settings }}
{{- if not (kindIs "invalid" $value) }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{- $value = int64 $value }}{{- end }}
- name: ENERGY_{{ upper $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* A Job can't be changed once it is made, so its name carries a hash of its pod: (list . "migrate" podTemplate). */}}
{{- define "energy.jobName" -}}
{{ include "energy.fullname" (index . 0) }}-{{ index . 1 }}-{{ index . 2 | sha256sum | trunc 8 }}
{{- end }}
