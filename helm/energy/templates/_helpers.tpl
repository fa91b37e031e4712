{{/*
Names. Everything is called after the release, as in `energy`, `energy-operator`, `energy-cockroachdb`. The longest of them,
the CronJob `…-cockroachdb-renew`, may have 52 characters, which leaves 34; what is cut ends in a hash, so that two long names stay two.
*/}}
{{- define "energy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride | replace "." "-" -}}
{{- if gt (len $full) 34 -}}
{{ $full | trunc 27 | trimSuffix "-" }}-{{ $full | sha256sum | trunc 6 }}
{{- else -}}
{{ $full }}
{{- end -}}
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

{{/* Labels of a component's pods, whoever makes them: (list . "component"). CloudNativePG labels its own. */}}
{{- define "energy.podsOf" -}}
{{- if eq (index . 1) "postgresql" -}}
cnpg.io/cluster: {{ include "energy.postgresql" (index . 0) }}
{{- else -}}
{{- include "energy.selector" . }}
{{- end -}}
{{- end }}

{{/* What Prometheus calls a component: (list . "app"|"cockroachdb"|"postgresql"|"operator"). */}}
{{- define "energy.job" -}}
{{- $full := include "energy.fullname" (index . 0) -}}
{{- ternary $full (printf "%s-%s" $full (index . 1)) (eq (index . 1) "app") -}}
{{- end }}

{{/* An image reference: (list . .Values.app.image). */}}
{{- define "energy.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- with ($root.Values.global).imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{/* The values of a component's pods: (list . "component"). Those that run once share theirs. */}}
{{- define "energy.podValues" -}}
{{- $values := (index . 0).Values -}}
{{- get (dict "app" $values.app "cockroachdb" $values.cockroachdb "operator" $values.operator) (index . 1) | default $values.jobs | toJson -}}
{{- end }}

{{/* The metadata of a pod: (list . "component"). A Job that runs the chart's scripts carries their hash: it runs again when they change. */}}
{{- define "energy.podMeta" -}}
{{- $root := index . 0 -}}{{- $values := include "energy.podValues" . | fromJson -}}
{{- $annotations := dict -}}
{{- if has (index . 1) (list "migrate" "cockroachdb-init" "certificates") -}}
{{- $_ := set $annotations "checksum/scripts" (include "energy.scripts" $root | sha256sum) -}}
{{- end -}}
labels: {{- merge (include "energy.selector" . | fromYaml) $values.podLabels | toYaml | nindent 2 }}
{{- with merge $annotations $values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod has in common: (list . "component"). Pod Security `restricted`, no service-account token, pull secrets. */}}
{{- define "energy.pod" -}}
{{- $root := index . 0 -}}{{- $values := $root.Values -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- $account := get $values.serviceAccounts (index . 1 | replace "cockroachdb-init" "cockroachdb" | replace "operator-release" "release") }}
{{- if $account }}
serviceAccountName: {{ include "energy.account" . }}
{{- end }}
{{- $context := deepCopy $values.podSecurityContext }}
{{- /* OpenShift gives each namespace its own range of users and refuses any other. */}}
{{- if $root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}{{ $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}{{ end }}
{{- with $context }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "energy.pullSecrets" $root | fromYamlArray }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{- define "energy.pullSecrets" -}}
{{- range concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets }}
- name: {{ kindIs "string" . | ternary . (get (kindIs "string" . | ternary dict .) "name") }}
{{- end }}
{{- end }}

{{/* The name of a component's ServiceAccount: (list . "component"). */}}
{{- define "energy.account" -}}
{{- $key := index . 1 | replace "cockroachdb-init" "cockroachdb" | replace "operator-release" "release" -}}
{{- $full := include "energy.fullname" (index . 0) -}}
{{- $own := get (dict "app" $full "cockroachdb" (print $full "-cockroachdb") "certificates" (print $full "-cockroachdb-certificates") "migrate" (print $full "-migrate") "operator" (print $full "-operator") "release" (print $full "-operator-release")) $key -}}
{{- $account := get (index . 0).Values.serviceAccounts $key -}}
{{- default (ternary $own "default" $account.create) $account.name -}}
{{- end }}

{{- define "energy.containerSecurity" -}}
{{- with .Values.securityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What people add to a container: its values. Lists of the chart's own stand above these includes. */}}
{{- define "energy.extraEnv" -}}
{{- with .extraEnv }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "energy.extraEnvFrom" -}}
{{- with .extraEnvFrom }}
envFrom: {{- toYaml . | nindent 0 }}
{{- end }}
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
{{- define "energy.postgresql" -}}{{ include "energy.fullname" . }}-postgresql{{- end }}
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
{{- if eq $root.Values.database.kind "cockroachdb" -}}
{{- /* No password: the client certificate is the credential. */ -}}
- name: ENERGY_DATABASE_URL
  value: postgresql://{{ ternary "energy" "energy_owner" (eq $party "app") }}@{{ include "energy.cockroachdb" $root }}:26257/energy?sslmode=verify-full&sslrootcert=/etc/energy/database/ca.crt&sslcert=/etc/energy/database/tls.crt&sslkey=/etc/energy/database/tls.key
{{- else if eq $root.Values.database.kind "cloudnativepg" -}}
{{- $cluster := include "energy.postgresql" $root -}}
{{- $urls := dict "ENERGY_DATABASE_URL" "rw" -}}
{{- if and (eq $party "app") (gt (int $root.Values.cloudnativepg.instances) 1) }}{{ $_ := set $urls "ENERGY_DATABASE_READ_URL" "ro" }}{{ end -}}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $cluster }}-{{ ternary "service" "app" (eq $party "app") }}, key: password}}
{{- range $name, $service := $urls }}
- name: {{ $name }}
  value: postgresql://{{ ternary "energy" "energy_owner" (eq $party "app") }}:$(DATABASE_PASSWORD)@{{ $cluster }}-{{ $service }}:5432/energy?sslmode=verify-full&sslrootcert=/etc/energy/database/ca.crt
{{- end }}
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
{{- $authority := include "energy.databaseAuthority" $root -}}
{{- if eq $root.Values.database.kind "cockroachdb" -}}
- name: database
  secret: {secretName: {{ include "energy.certificateSecret" . }}, defaultMode: 0440}
{{- else if $authority -}}
- name: database
  secret: {secretName: {{ $authority }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{/* The Secret whose ca.crt signed a PostgreSQL's certificate, if the chart knows one. */}}
{{- define "energy.databaseAuthority" -}}
{{- if eq .Values.database.kind "cloudnativepg" }}{{ include "energy.postgresql" . }}-ca{{ else }}{{ .Values.database.external.caSecret }}{{ end }}
{{- end }}

{{- define "energy.databaseMount" -}}
{{- if or (eq .Values.database.kind "cockroachdb") (include "energy.databaseAuthority" .) -}}
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

{{/*
A Job can't be changed once it is made, so its name carries a hash: (list . "migrate" podTemplate). The release's revision is in it:
each upgrade and each rollback runs its Jobs again, also one that has failed, and what was rotated in a Secret meanwhile is applied.
*/}}
{{- define "energy.jobName" -}}
{{- $root := index . 0 -}}
{{ include "energy.fullname" $root }}-{{ index . 1 }}-{{ print (index . 2) $root.Release.Revision | sha256sum | trunc 8 }}
{{- end }}
